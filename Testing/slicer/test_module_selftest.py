"""The module's own Test class, in the headless host."""

import pytest

TESTS = (
    "test_sampleDataToOrgansAndBack",
    "test_ballUnderObliqueGeometryAndTransform",
    "test_runInBackground",
    "test_cancelMidRun",
    "test_missingModel",
)


def test_all_self_tests_are_run_here(module):
    names = [name for name in dir(module.AttentionUNetSegmentationTest) if name.startswith("test")]
    assert sorted(names) == sorted(TESTS)


@pytest.mark.parametrize("name", TESTS)
def test_self_test(module, name):
    test = module.AttentionUNetSegmentationTest(name)
    test.setUp()
    try:
        getattr(test, name)()
    finally:
        test.tearDown()
