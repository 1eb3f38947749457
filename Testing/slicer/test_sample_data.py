"""The sample CT that the module registers."""


def test_the_sample_is_registered(module):
    import SampleData

    from AttentionUNetSegmentationLib.scene.sample_data import SAMPLE_FILE, SAMPLE_SHA256

    source = SampleData.SampleDataLogic().sourceForSampleName("SyntheticAbdomenCT")
    assert source.uris == [SAMPLE_FILE.as_uri()] and source.checksums == [f"SHA256:{SAMPLE_SHA256}"]


def test_the_sample_is_registered_in_slicer_5_10_too(module, monkeypatch):
    import SampleData

    monkeypatch.delattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory")
    monkeypatch.setitem(SampleData._registry("sampleDataSources"), "AttentionUNet", [])
    module.registerSampleData()
    [source] = SampleData.SampleDataLogic.sampleDataSourcesByCategory("AttentionUNet")
    assert source.sampleName == "SyntheticAbdomenCT"
