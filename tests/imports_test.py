import ast
import configparser
import pathlib
import subprocess
import sys

import pytest

import sngan_tf

PACKAGE = pathlib.Path(sngan_tf.__file__).parent

# A folder, or a module at the top, imports from lines above its own only.
LADDER = (
    ("errors", "types"),
    ("files", "machine", "noise", "progress"),
    ("images",),
    ("layers",),
    ("certificates",),
    ("gan", "metrics", "data"),
    ("networks",),
    ("runs",),
    ("studies",),
    ("server",),
    ("modes",),
    ("flags",),
    ("command",),
)
RANKS = {name: rank for rank, names in enumerate(LADDER) for name in names}
# What runs on any Keras backend, and may import Keras and NumPy alone.
NEUTRAL = (
    "types",
    "layers",
    "certificates",
    "networks",
    "gan/__init__",
    "gan/losses",
    "gan/penalties",
    "gan/methods",
    "gan/schedules",
    "gan/spectral_compensation",
    "gan/step_callback",
)
# What a package brings that is installed without extras.
LIGHT = {"keras", "numpy", "tensorflow"}


def files_of(name):
    """Returns the files of a folder, or that of a module."""
    module = PACKAGE / f"{name}.py"
    return [module] if module.exists() else [*(PACKAGE / name).rglob("*.py")]


def imports_of(name):
    """Yields `(package, rung)` of all that a module or folder imports."""
    for file in files_of(name):
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


def test_every_folder_has_its_place():
    names = {path.stem for path in PACKAGE.iterdir()} - {"py"}  # py.typed
    assert names - {"__init__", "__pycache__"} == set(RANKS)


@pytest.mark.parametrize("name", RANKS)
def test_imports_run_one_way(name):
    found = {
        rung for package, rung in imports_of(name) if package == "sngan_tf"
    }
    assert {n for n in found - {name} if RANKS[n] >= RANKS[name]} == set()


@pytest.mark.parametrize("name", RANKS)
def test_nothing_knows_configs(name):
    assert packages_of(name) & {"configs", "main"} == set()


@pytest.mark.parametrize("name", sorted(set(RANKS) - {"command", "flags"}))
def test_command_alone_knows_flags(name):
    assert "absl" not in packages_of(name)


@pytest.mark.parametrize("name", NEUTRAL)
def test_layers_networks_and_losses_run_on_any_backend(name):
    assert packages_of(name) <= {"keras", "numpy"}


@pytest.mark.parametrize(
    "name",
    [
        "errors",
        "types",
        "files",
        "noise",
        "images",
        "layers",
        "certificates",
        "gan",
        "networks",
    ],
)
def test_layers_and_the_gan_need_no_extra(name):
    assert packages_of(name) <= LIGHT


def test_wheel_has_every_folder():
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    packages = settings["options"]["packages"].split()
    folders = {
        ".".join(path.parent.relative_to(PACKAGE.parent).parts)
        for path in PACKAGE.rglob("*.py")
    }
    assert {*packages} == folders | {
        "sngan_tf.configs",
        "sngan_tf.configs.studies",
    }


def test_wheel_has_every_file():
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    matched = {
        path
        for package, patterns in settings["options.package_data"].items()
        for pattern in patterns.split()
        for path in PACKAGE.parent.joinpath(*package.split(".")).glob(pattern)
    }
    others = {
        path
        for path in PACKAGE.rglob("*.*")
        if path.suffix not in (".py", ".pyc")
    }
    assert matched == others


def test_package_itself_imports_nothing():
    assert {package for package, _ in imports_of("__init__")} == {
        "importlib",
        "sys",
    }


def in_new_process(script):
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_importing_the_package_loads_nothing_else():
    script = """
import sys
before = {*sys.modules}
import sngan_tf
print(*{n.split(".")[0] for n in {*sys.modules} - before})
"""
    found = {*in_new_process(script)} - sys.stdlib_module_names
    assert found == {"sngan_tf"}
