"""Rules of the architecture (who may import what) and of packaging."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "AttentionUNetSegmentation" / "AttentionUNetSegmentationLib"
INSIDE_SLICER = {"numpy", "SimpleITK", "torch"}
SLICER_ONLY = {"slicer", "qt", "ctk", "vtk"}
GLUE = {"mrml", "dependencies"}
LAZY = {  # third-party packages that a module may import inside functions
    "report": {"matplotlib"},
    "console": {"rich"},
    "nifti": {"nibabel"},
    "backends": {"openvino"},
}
# a module may import only modules that stand before it
ORDER = [
    "__init__ volume monitor tiles",
    "model_spec network resampling",
    "slabwise",
    "memory model_store stages preprocessing nifti dicom metaimage",
    "model backends components files measures plausibility",
    "inference postprocessing information",
    "pipeline report",
    "batch",
    "console",
    "cli",
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names.split()}
MODULES = sorted(path.stem for path in ENGINE.glob("*.py") if path.stem not in GLUE)


def imports(path: Path) -> list[tuple[str, bool, bool]]:
    """(module, is relative, at file scope) of every import; those for type checkers only are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], False, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            relative = node.level > 0
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(name.split(".")[0], relative, id(node) in top) for name in names]
    return found


def test_every_engine_module_has_a_place_in_the_order():
    assert set(MODULES) == set(LEVEL)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    for name, relative, _ in imports(ENGINE / f"{module}.py"):
        if relative and name != "__version__":
            assert LEVEL[name] < LEVEL[module], f"{module} must not import {name}"


@pytest.mark.parametrize("module", MODULES)
def test_the_engine_needs_only_what_slicer_has(module):
    for name, relative, at_file_scope in imports(ENGINE / f"{module}.py"):
        if relative or name in sys.stdlib_module_names or name in INSIDE_SLICER:
            continue
        assert name not in SLICER_ONLY, f"{module} must not import {name}"
        assert name in LAZY.get(module, set()), f"{module} must not import {name}"
        assert not at_file_scope, f"{module} must import {name} inside the function that needs it"


def test_importing_the_engine_does_not_import_optional_packages():
    code = (
        "import sys, AttentionUNetSegmentationLib.pipeline, AttentionUNetSegmentationLib.files;"
        "print(sorted({'rich', 'matplotlib', 'nibabel', 'openvino', 'lightning', 'monai'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_training_imports_the_engine_never_the_reverse():
    for path in ENGINE.glob("*.py"):
        assert "attention_unet_training" not in {name for name, _, _ in imports(path)}


@pytest.mark.parametrize("path", [*ENGINE.glob("*.py"), *(ROOT / "Training").rglob("*.py")], ids=lambda path: path.stem)
def test_one_file_one_concept(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320
