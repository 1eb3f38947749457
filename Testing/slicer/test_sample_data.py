"""The sample CT that the module registers."""


def test_the_sample_is_registered(module):
    import SampleData

    source = SampleData.SampleDataLogic().sourceForSampleName("SyntheticAbdomenCT")
    assert source.uris[0].startswith("file://") and source.checksums == [f"SHA256:{module.SAMPLE_SHA256}"]


def test_the_sample_is_registered_in_slicer_5_10_too(module, monkeypatch):
    import SampleData

    monkeypatch.delattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory")
    monkeypatch.setitem(SampleData._registry("sampleDataSources"), "AttentionUNet", [])
    module.registerSampleData()
    [source] = SampleData.SampleDataLogic.sampleDataSourcesByCategory("AttentionUNet")
    assert source.sampleName == "SyntheticAbdomenCT"
