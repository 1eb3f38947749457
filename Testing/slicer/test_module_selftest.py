"""The module's own self-tests, in the headless host, as Slicer finds them."""

import unittest

import pytest

pytestmark = pytest.mark.slow

TESTS = {
    "OrgansTest.test_sampleDataToOrgansAndBack",
    "OrgansTest.test_ballUnderObliqueGeometryAndTransform",
    "OrgansTest.test_missingModel",
    "BackgroundTest.test_runInBackground",
    "BackgroundTest.test_cancelMidRun",
}


def each(suite):
    """The tests of a suite of suites, by name."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield ".".join(test.id().split(".")[-2:]), test


def found(module):
    """What ``slicer.testing.runUnitTest`` and CMake's tests find, by the module's name alone."""
    return dict(each(unittest.TestLoader().loadTestsFromName(module.__name__)))


def test_all_self_tests_are_found(module):
    assert set(found(module)) == TESTS


@pytest.mark.parametrize("name", sorted(TESTS))
def test_self_test(module, name):
    result = unittest.TestResult()
    found(module)[name].run(result)
    assert result.testsRun == 1 and result.wasSuccessful(), result.failures + result.errors


def test_reload_and_test_runs_all_and_fails_if_one_fails(module, monkeypatch):
    class Ends(unittest.TestCase):
        def test_good(self):
            ran.append("good")

        def test_bad(self):
            ran.append("bad")
            assert is_good

    ran, is_good = [], True
    monkeypatch.setattr(module, "load_tests", lambda loader: loader.loadTestsFromTestCase(Ends))
    module.AttentionUNetSegmentationTest().runTest()
    assert sorted(ran) == ["bad", "good"]
    is_good = False
    with pytest.raises(AssertionError, match="test_bad"):
        module.AttentionUNetSegmentationTest().runTest()
