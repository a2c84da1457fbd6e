"""`weir._abi` says what weir.h says: a C program prints what the compiler makes of it. Runs with plain `unittest` too."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from weir import _abi

INCLUDE = Path(os.environ.get("WEIR_INCLUDE") or Path(__file__).resolve().parents[3] / "include")
COMPILER = os.environ.get("CC", "cc")

#: C's types and ours. Pointers to opaque structs are handles.
TYPES: Dict[str, Any] = {
    "void": None,
    "int": ctypes.c_int,
    "size_t": ctypes.c_size_t,
    "uint16_t": ctypes.c_uint16,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "enum weir_result": ctypes.c_int,
    "char *": ctypes.c_char_p,
    "uint8_t *": ctypes.c_char_p,
    "uint8_t * *": ctypes.POINTER(ctypes.c_void_p),
    "size_t *": ctypes.POINTER(ctypes.c_size_t),
    "uint32_t *": ctypes.POINTER(ctypes.c_uint32),
    "uint64_t *": ctypes.POINTER(ctypes.c_uint64),
}


def _type(words: str) -> Any:
    words = re.sub(r"\bconst\b", "", words).replace("*", " * ")
    words = " ".join(words.split())
    struct = re.fullmatch(r"struct (\w+)((?: \*)*)", words)
    if not struct:
        return TYPES[words]
    made, stars = _abi.STRUCTS.get(struct[1]), struct[2].count("*")
    if made is None:  # opaque
        return ctypes.c_void_p if stars == 1 else ctypes.POINTER(ctypes.c_void_p)
    return made if stars == 0 else ctypes.POINTER(made)


def _functions(header: str) -> Iterator[Tuple[str, Any, List[Any]]]:
    """Every function of the header: its name, what it answers and what it takes."""
    plain = re.sub(r"//[^\n]*", "", header)
    for answers, name, parameters in re.findall(r"^((?:const )?[a-z_][\w ]*?[ *]+)(weir_\w+)\(([^;{]*)\);", plain, re.M | re.S):
        listed = [one.strip() for one in parameters.split(",")]
        takes = [] if listed == ["void"] else [re.sub(r"\w+$", "", one).strip() for one in listed]
        yield name, answers.strip(), takes


class Abi(unittest.TestCase):
    def setUp(self) -> None:
        self.header = (INCLUDE / "weir.h").read_text(encoding="utf-8")

    def compiled(self, expressions: List[str]) -> List[int]:
        """What a C compiler makes of these."""
        if shutil.which(COMPILER) is None:
            self.skipTest(f"no C compiler called {COMPILER}: set CC")
        lines = "\n".join(f'printf("%lld\\n", (long long)({one}));' for one in expressions)
        source = f'#include "weir.h"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{\n{lines}\nreturn 0; }}\n'
        with tempfile.TemporaryDirectory() as folder:
            path, program = os.path.join(folder, "abi.c"), os.path.join(folder, "abi")
            Path(path).write_text(source, encoding="utf-8")
            subprocess.run([COMPILER, "-std=c11", "-I", str(INCLUDE), path, "-o", program], check=True)
            return [int(line) for line in subprocess.check_output([program], text=True).split()]

    def test_structs_are_laid_out_as_in_c(self) -> None:
        wanted: Dict[str, int] = {}
        for name, struct in _abi.STRUCTS.items():
            wanted[f"sizeof(struct {name})"] = ctypes.sizeof(struct)
            body = re.search(rf"^typedef struct {name} {{(.*?)^}}", self.header, re.M | re.S)
            assert body, name
            declared = re.findall(r"(\w+)(?:\[\d+\])?;", re.sub(r"//[^\n]*", "", body[1]))
            self.assertEqual(declared, [field[0] for field in struct._fields_], f"the fields of {name}")
            for field in declared:
                place = getattr(struct, field)
                wanted[f"offsetof(struct {name}, {field})"] = place.offset
                wanted[f"sizeof(((struct {name} *)0)->{field})"] = place.size
        self.assertEqual(dict(zip(wanted, self.compiled(list(wanted)))), wanted)

    def test_numbers_are_those_of_the_header(self) -> None:
        wanted: Dict[str, int] = {
            "WEIR_ABI_VERSION": _abi.ABI_VERSION,
            "WEIR_ALLOW_UNSUPPORTED": _abi.ALLOW_UNSUPPORTED,
            "WEIR_ALL_PROCESSORS": _abi.ALL_PROCESSORS,
            "(WEIR_FOREVER == UINT64_MAX)": int(_abi.FOREVER == 2**64 - 1),
        }
        for name, (numbers, prefix) in _abi.ENUMS.items():
            body = re.search(rf"^typedef enum {name} {{(.*?)^}}", self.header, re.M | re.S)
            assert body, name
            ours = {prefix + number.name: int(number) for number in numbers}
            self.assertEqual(re.findall(r"^\s+(WEIR_\w+) = ", body[1], re.M), list(ours), f"the names of {name}")
            wanted.update(ours)
        self.assertEqual(dict(zip(wanted, self.compiled(list(wanted)))), wanted)

    def test_functions_take_and_answer_what_the_header_says(self) -> None:
        ours = {**_abi.FUNCTIONS, **_abi.PROXY_FUNCTIONS}
        seen = set()
        for name, answers, takes in _functions(self.header):
            if name not in ours:
                continue  # C has more: filters, slices of memory
            seen.add(name)
            answer = _type(answers)
            self.assertEqual(ours[name][0], answer, f"what {name} answers")
            self.assertEqual(ours[name][1], [_type(one) for one in takes], f"what {name} takes")
        self.assertEqual(sorted(set(ours) - seen), [], "the header has them not")


if __name__ == "__main__":
    unittest.main()
