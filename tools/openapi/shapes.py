"""Small words for JSON schemas."""


def flag():
    return {"type": "boolean"}


def text(least=None, most=None, **more):
    return {"type": "string"} | limits("minLength", least, "maxLength", most) | more


def integer(least=None, most=None):
    return {"type": "integer"} | limits("minimum", least, "maximum", most)


def number(least=None, most=None):
    return {"type": "number"} | limits("minimum", least, "maximum", most)


def one_of(*values):
    return {"enum": list(values)}


def a_list(of, least=None, most=None):
    return {"type": "array", "items": of} | limits("minItems", least, "maxItems", most)


def any_object():
    return {"type": "object"}


def either(*schemas):
    return {"anyOf": list(schemas)}


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(schema):
    return either(schema, {"type": "null"})


def limits(low_name, low, high_name, high):
    return {name: value for name, value in ((low_name, low), (high_name, high)) if value is not None}


def answer(required, optional=None):
    """An object of an answer: it has these members and no others."""
    return {"type": "object", "properties": required | (optional or {}), "required": list(required),
            "additionalProperties": False}


def asked(required, optional):
    """An object of a request. null counts as absent; what is not listed is refused."""
    return {"type": "object", "properties": required | {name: or_null(schema) for name, schema in optional.items()},
            "required": list(required), "additionalProperties": False}
