"""Rules of the architecture (who may import what) and of packaging."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_FILE = ROOT / "AttentionUNetSegmentation" / "AttentionUNetSegmentation.py"
ENGINE = ROOT / "AttentionUNetSegmentation" / "AttentionUNetSegmentationLib"
INSIDE_SLICER = {"numpy", "SimpleITK", "torch"}
SLICER_ONLY = {"slicer", "qt", "ctk", "vtk"}
LAZY = {  # third-party packages that a module may import inside functions
    "report": {"matplotlib"},
    "console": {"rich"},
    "dicom_pixels": {"pydicom"},
    "multiframe": {"pydicom"},
    "nifti": {"nibabel"},
    "backends": {"openvino"},
}
# a module may import only modules that stand before it
ORDER = [
    "__init__ volume monitor tiles errors multiframe itk_headers",
    "model_spec network resampling job dicom_headers",
    "slabwise dicom_pixels",
    "memory model_store stages preprocessing nifti dicom",
    "model backends components files measures",
    "inference postprocessing plausibility model_cache",
    "pipeline report information cases",
    "batch frames",
    "console",
    "cli",
]
# modules that run inside 3D Slicer only; they may import the engine, and glue that stands before them
GLUE_ORDER = [
    "mrml dependencies sequences",
    "input_panel map_volumes organ_table model_panel",
    "attention_view organ_panel request",
    "attention_panel run",
]
NARROW = {"mrml": {"volume", "model_spec", "measures"}, "dependencies": set(), "sequences": set()}
# those needed before any run
PANELS = ("attention_panel", "input_panel", "model_panel", "organ_panel", "dependencies", "sequences", "errors")
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names.split()}
GLUE = {name: level for level, names in enumerate(GLUE_ORDER) for name in names.split()}
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


@pytest.mark.parametrize("module", sorted(GLUE))
def test_glue_imports_the_engine_and_glue_before_it(module):
    relative = {name for name, relative, _ in imports(ENGINE / f"{module}.py") if relative}
    if module in NARROW:
        assert relative <= NARROW[module]
    for name in relative:
        assert name in LEVEL or GLUE[name] < GLUE[module], f"{module} must not import {name}"


@pytest.mark.parametrize("module", sorted(GLUE))
def test_glue_needs_only_what_slicer_has(module):
    for name, relative, at_file_scope in imports(ENGINE / f"{module}.py"):
        if not relative and name not in sys.stdlib_module_names:
            allowed = SLICER_ONLY | {"numpy"} if at_file_scope else SLICER_ONLY | INSIDE_SLICER
            assert name in allowed, f"{module} must not import {name}"


@pytest.mark.parametrize("module", PANELS)
def test_the_panel_needs_no_torch(module):
    seen, waiting = set(), [module]
    while waiting:
        seen.add(name := waiting.pop())
        for imported, relative, at_file_scope in imports(ENGINE / f"{name}.py"):
            assert imported != "torch" or not at_file_scope, f"{module} imports torch by way of {name}"
            if relative and at_file_scope and imported not in seen:
                waiting.append(imported)


def test_the_module_file_imports_only_what_slicer_always_has_and_stays_small():
    for name, _, at_file_scope in imports(MODULE_FILE):
        if at_file_scope:
            assert name in SLICER_ONLY or name in sys.stdlib_module_names, f"{name} at file scope"
    assert len(MODULE_FILE.read_text(encoding="utf-8").splitlines()) <= 700


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
