"""What is shipped: CMake's lists, the extension's metadata, the icons."""

import json
import re
import struct
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "AttentionUNetSegmentation"


def cmake_values(path: Path, name: str) -> list[str]:
    """The values of a CMake variable that is set once, with ${MODULE_NAME} filled in."""
    (text,) = re.findall(rf"set\({name}\s+([^)]*)\)", path.read_text(encoding="utf-8"))
    values = re.findall(r'"[^"]*"|\S+', text)
    return [value.strip('"').replace("${MODULE_NAME}", "AttentionUNetSegmentation") for value in values]


def homepage() -> str:
    """The repository's address, from the one place where it stands."""
    (address,) = cmake_values(ROOT / "CMakeLists.txt", "EXTENSION_HOMEPAGE")
    return address


def test_cmake_lists_every_shipped_file_and_no_other():
    listed = [
        *cmake_values(MODULE / "CMakeLists.txt", "MODULE_PYTHON_SCRIPTS"),
        *cmake_values(MODULE / "CMakeLists.txt", "MODULE_PYTHON_RESOURCES"),
    ]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."]
    files = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, check=True).stdout.split("\n")
    shipped = {name for name in files if name and name != "CMakeLists.txt" and (MODULE / name).exists()}
    assert len(shipped) > 40
    assert len(listed) == len(set(listed))
    assert set(listed) == shipped


def test_scripts_and_resources_are_told_apart():
    scripts = cmake_values(MODULE / "CMakeLists.txt", "MODULE_PYTHON_SCRIPTS")
    assert all(name.endswith(".py") for name in scripts)
    resources = cmake_values(MODULE / "CMakeLists.txt", "MODULE_PYTHON_RESOURCES")
    assert not any(name.endswith(".py") for name in resources)


def test_the_extension_says_what_it_is():
    top = ROOT / "CMakeLists.txt"
    assert homepage().startswith("https://")
    assert cmake_values(top, "EXTENSION_DEPENDS") == ["PyTorch"]
    assert "add_subdirectory(AttentionUNetSegmentation)" in top.read_text(encoding="utf-8")
    (pictures,) = cmake_values(top, "EXTENSION_SCREENSHOTURLS")
    (icon,) = cmake_values(top, "EXTENSION_ICONURL")
    for address in [icon, *pictures.split()]:
        prefix = "${EXTENSION_HOMEPAGE}/raw/main/"
        assert address.startswith(prefix)
        assert (ROOT / address.removeprefix(prefix)).is_file(), address
    for name in ("EXTENSION_LICENSE_FILE", "EXTENSION_README_FILE"):
        (path,) = cmake_values(top, name)
        assert (ROOT / path.removeprefix("${CMAKE_CURRENT_SOURCE_DIR}/")).is_file()


def test_the_entry_for_the_extensions_index_agrees():
    entry = json.loads((ROOT / "docs" / "ExtensionsIndex" / "AttentionUNet.json").read_text(encoding="utf-8"))
    assert entry["scm_url"] == f"{homepage()}.git"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert (entry["category"], entry["tier"]) == ("Segmentation", 3)
    allowed = {"$schema", "build_dependencies", "build_subdirectory", "category", "scm_revision", "scm_url", "tier"}
    assert set(entry) == allowed


def test_the_citation_names_the_same_repository():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^repository-code: (\S+)$", text, re.MULTILINE) == [homepage()]


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "AttentionUNet.png",
        MODULE / "Resources/Icons/AttentionUNetSegmentation.png",
        MODULE / "Resources/Icons/SyntheticAbdomenCT.png",
    ],
    ids=lambda path: path.name,
)
def test_icons_are_pictures_of_128_by_128(path):
    import matplotlib.image

    assert struct.unpack(">II", path.read_bytes()[16:24]) == (128, 128)
    assert matplotlib.image.imread(path)[..., :3].std() > 0.1


@pytest.mark.parametrize("package", ["AttentionUNetSegmentation/AttentionUNetSegmentationLib", "Training"])
def test_every_folder_with_modules_is_a_package(package):
    """``pip install .`` finds packages by their ``__init__.py``."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_configuration_file_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "Training" / "attention_unet_training"
    installed = {
        path for pattern in settings["package-data"]["attention_unet_training"] for path in package.glob(pattern)
    }
    assert installed == {path for path in package.rglob("*") if path.suffix in (".yaml", ".json")}


def test_the_module_asks_for_the_openvino_that_the_command_line_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"]
    (wanted,) = groups["cpu"]
    dependencies = MODULE / "AttentionUNetSegmentationLib" / "panels" / "dependencies.py"
    assert f'OPENVINO = "{wanted}"' in dependencies.read_text(encoding="utf-8")
    requirements = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in requirements if not line.startswith("#")] == [wanted]
    assert wanted in groups["view"]


def test_the_views_in_a_browser_have_the_slicer_core_that_is_tested():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    cores = {line.split(";")[0] for name in ("slicer", "view") for line in groups[name] if "slicer-core" in line}
    assert len(cores) == 1
