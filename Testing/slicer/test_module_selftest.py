"""The module's own Test class, in the headless host."""

import unittest

import pytest

TESTS = (
    "test_sampleDataToOrgansAndBack",
    "test_ballUnderObliqueGeometryAndTransform",
    "test_runInBackground",
    "test_cancelMidRun",
    "test_missingModel",
)


def test_all_self_tests_are_run_here(module):
    test_class = module.AttentionUNetSegmentationTest
    assert sorted(unittest.defaultTestLoader.getTestCaseNames(test_class)) == sorted(TESTS)
    assert sorted(test_class().moduleTestNames) == sorted(TESTS)  # what runTest runs


@pytest.mark.parametrize("name", TESTS)
def test_self_test(module, name):
    test = module.AttentionUNetSegmentationTest(name)
    test.setUp()
    try:
        getattr(test, name)()
    finally:
        test.tearDown()
