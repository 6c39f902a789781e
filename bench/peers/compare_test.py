#!/usr/bin/env python3
"""Whether compare.py reads what the programs print, and counts right."""
import unittest

import compare
from compare import Test

PREFILL, DECODE, AT_DEPTH = Test("prefill", 512, 0), Test("decode", 64, 0), Test("decode", 64, 4096)


def llama_bench(prompt, generated, samples):
    return ('[\n= Repacked 9 tensors\n  {\n    "build_commit": "abc",\n    "build_number": 7,\n'
            f'    "n_prompt": {prompt},\n    "n_gen": {generated},\n    "samples_ts": {samples}\n  }}\n]\n')


def program(dialect, flags):
    made = object.__new__(compare.Program)  # without asking a binary for its help
    made.name, made.path, made.dialect, made.flags = dialect, dialect, dialect, flags
    return made


class Compare(unittest.TestCase):
    def test_reads_the_median_of_a_llama_bench(self):
        result = compare.result_of("llama.cpp", llama_bench(512, 0, [1.0, 5.0, 4.0]), PREFILL)
        self.assertEqual(result, {"tokens_per_s": 4.0, "version": "abc (7)"})

    def test_knows_that_ik_counts_the_depth_as_a_prompt(self):
        text = llama_bench(4096, 64, [3.0])
        self.assertEqual(compare.result_of("ik_llama.cpp", text, AT_DEPTH)["tokens_per_s"], 3.0)
        with self.assertRaises(AssertionError):
            compare.result_of("ik_llama.cpp", text, DECODE)

    def test_reads_a_phase_of_cachalot_bench(self):
        text = ('{"phases": [{"phase": "decode", "tokens_per_s": {"median": 2, "min": 1, "max": 3}, '
                '"bytes_per_s": 10, "share_of_limit": 0.9, "limit": "bandwidth"}], '
                '"depth": 0, "isa": "avx2", "load_ms": 5, "peak_bytes": 9}')
        result = compare.result_of("cachalot", text, DECODE)
        self.assertEqual((result["tokens_per_s"], result["bytes_per_token"]), (2, 5))
        with self.assertRaises(AssertionError):
            compare.result_of("cachalot", text, AT_DEPTH)

    def test_asks_each_dialect_for_a_depth_in_its_own_words(self):
        words = {dialect: " ".join(program(dialect, ["-x"]).command(AT_DEPTH, "m.gguf", 2, 1))
                 for dialect in ("cachalot", "llama.cpp", "ik_llama.cpp")}
        self.assertIn("bench --json m.gguf --prefill 0 --decode 64 --depth 4096", words["cachalot"])
        self.assertIn("-p 0 -n 64 -r 1 -t 2 -d 4096", words["llama.cpp"])
        self.assertIn("-p 0 -n 0 -r 1 -t 2 -gp 4096,64", words["ik_llama.cpp"])

    def test_leaves_to_a_program_what_its_flags_set(self):
        command = program("llama.cpp", ["-m", "other.gguf", "-t", "1"]).command(PREFILL, "m.gguf", 2, 1)
        self.assertEqual((command.count("-m"), command.count("-t")), (1, 1))
        self.assertNotIn("m.gguf", command)

    def test_quotes_the_median_of_the_ratios_within_a_round(self):
        runs = [{"test": "decode", "round": r, "name": name, "tokens_per_s": rate, "share_of_limit": 1, "limit": "",
                 "share_of_probe": rate / 10}
                for r, rates in enumerate([(2, 1), (9, 3), (1, 2)]) for name, rate in zip(("a", "b"), rates)]
        runs.append({**runs[0], "round": 9, "tokens_per_s": 1000})  # a round that was cut short
        self.assertEqual(compare.table(runs).splitlines()[-1],
                         "| decode | 2.0 (1.0 … 9.0) | b | 2.0 (1.0 … 3.0) | 2.00 (0.50 … 3.00) "
                         "| 20% (10% … 90%) | 20% (10% … 30%) |")


if __name__ == "__main__":
    unittest.main()
