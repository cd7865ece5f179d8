import ast
import pathlib
import subprocess
import sys

import pytest

import sngan_tf

PACKAGE = pathlib.Path(sngan_tf.__file__).parent

# A module imports from lines above its own only.
LADDER = (
    (
        "errors",
        "files",
        "noise",
        "cache",
        "layers",
        "losses",
        "penalties",
        "schedules",
        "tfgan",
        "progress",
        "protocols",
    ),
    (
        "images",
        "augmentation",
        "distribution",
        "interrupts",
        "methods",
        "metrics",
        "features",
    ),
    ("networks", "data", "workdir", "reference"),
    ("gan",),
    ("checkpoint", "callbacks"),
    ("experiment", "report", "scores"),
    ("sample",),
    ("evaluate", "export"),
    ("train",),
)
RANKS = {name: rank for rank, names in enumerate(LADDER) for name in names}


def imports_of(name):
    """Yields `(package, module)` of all that a module or package imports."""
    module = PACKAGE / f"{name}.py"
    for file in [module] if module.exists() else (PACKAGE / name).rglob("*.py"):
        # Those inside functions too.
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                full_names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} has a relative import"
                full_names = [f"{node.module}.{n.name}" for n in node.names]
            else:
                continue
            for full_name in full_names:
                package, _, rest = full_name.partition(".")
                yield package, rest.partition(".")[0]


def packages_of(name):
    packages = {package for package, _ in imports_of(name)}
    return packages - sys.stdlib_module_names - {"sngan_tf"}


def neighbours_of(name):
    found = {
        module for package, module in imports_of(name) if package == "sngan_tf"
    }
    return found - {name}


def test_every_module_has_its_place():
    names = {path.stem for path in PACKAGE.iterdir()}
    assert names - {"__init__", "__pycache__"} == set(RANKS)


@pytest.mark.parametrize("name", RANKS)
def test_imports_run_one_way(name):
    wrong = {n for n in neighbours_of(name) if RANKS[n] >= RANKS[name]}
    assert wrong == set()


@pytest.mark.parametrize("name", RANKS)
def test_nothing_knows_configs_or_the_command(name):
    assert packages_of(name) & {"configs", "main", "absl"} == set()


@pytest.mark.parametrize("name", ["losses", "penalties", "schedules"])
def test_leaves_run_on_any_backend(name):
    assert packages_of(name) == {"keras"}


@pytest.mark.parametrize("name", ["layers", "methods", "networks"])
def test_layers_and_networks_run_on_any_backend(name):
    assert packages_of(name) <= {"keras", "numpy"}


def test_package_itself_imports_layers_alone():
    assert packages_of("__init__") == set()
    assert neighbours_of("__init__") == {"layers"}


def test_importing_the_package_loads_nothing_but_keras():
    script = """
import sys
import keras
before = {name.split(".")[0] for name in sys.modules}
import sngan_tf
after = {name.split(".")[0] for name in sys.modules}
print(*after - before - sys.stdlib_module_names)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["sngan_tf"]
