"""`SampleData`: registering data sets and loading them by name."""

import urllib.request
from pathlib import Path

import slicer


class SampleDataSource:
    """One data set of one volume."""

    def __init__(self, *, sampleName, uris, fileNames, nodeNames, checksums, thumbnailFileName=None):
        self.sampleName, self.thumbnailFileName = sampleName, thumbnailFileName
        self.uris, self.fileNames, self.nodeNames, self.checksums = [uris], [fileNames], [nodeNames], [checksums]

    def __eq__(self, other) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = None


class SampleDataLogic:
    """Keeps the sources in `slicer.modules.sampleDataSources`, by category."""

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        _registry("sampleDataSourceCategories").setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(category: str, **source) -> None:
        """Adds a data set; the arguments are those of SampleDataSource. Adding the same again changes nothing."""
        sources = _registry("sampleDataSources").setdefault(category, [])
        data_source = SampleDataSource(**source)
        if data_source not in sources:
            sources.append(data_source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str) -> list[SampleDataSource]:
        return _registry("sampleDataSources").get(category, [])

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        sources = [source for group in _registry("sampleDataSources").values() for source in group]
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadSample(self, sampleName: str):
        """Loads a registered data set and returns its node."""
        source = self.sourceForSampleName(sampleName)
        path = self.downloadFileIntoCache(source.uris[0], source.fileNames[0], source.checksums[0])
        node = slicer.util.loadNodeFromFile(path, properties={"name": source.nodeNames[0]})
        if node.GetStorageNode() is not None:  # the file is in a cache: the node is not to be saved there
            slicer.mrmlScene.RemoveNode(node.GetStorageNode())
        return node

    def downloadFileIntoCache(self, uri: str, name: str, checksum: str) -> str:
        """Copies a file:// URI into the cache.

        Raises:
            ValueError: the URI is not a file:// URI, or the file does not have the checksum.
        """
        if not uri.startswith("file:"):
            raise ValueError(f"the host downloads nothing: sample data must be at a file:// URI, got {uri}")
        target = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / name
        urllib.request.urlretrieve(uri, target)
        algorithm, digest = slicer.util.extractAlgoAndDigest(checksum)
        if slicer.util.computeChecksum(algorithm, str(target)) != digest:
            target.unlink()
            raise ValueError(f"{name} does not have the checksum {checksum}")
        return str(target)


def _registry(name: str) -> dict:
    if not hasattr(slicer.modules, name):
        setattr(slicer.modules, name, {})
    return getattr(slicer.modules, name)
