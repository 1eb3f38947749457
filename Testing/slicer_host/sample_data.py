"""`SampleData`: registering data sets and loading them by name."""

import urllib.request
from pathlib import Path

import slicer


class SampleDataSource:
    """One data set: URIs, file names, node names and checksums, given singly or as lists of one length."""

    def __init__(
        self,
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
    ):
        self.sampleName = sampleName
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        self.uris = uris if isinstance(uris, (list, tuple)) else [uris]
        columns = {
            "fileNames": fileNames,
            "nodeNames": nodeNames,
            "checksums": checksums,
            "loadFiles": loadFiles,
            "loadFileTypes": loadFileTypes,
        }
        for name, value in columns.items():
            items = value if isinstance(value, (list, tuple)) else [value] * len(self.uris)
            if len(items) != len(self.uris):
                raise ValueError(f"{name} must have as many entries as uris ({len(self.uris)}), got {len(items)}")
            setattr(self, name, list(items))

    def __eq__(self, other) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = None


class SampleDataLogic:
    """Keeps the sources in `slicer.modules.sampleDataSources`, by category."""

    def __init__(self, logMessage=None):
        self.logMessage = logMessage

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        _registry("sampleDataSourceCategories").setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", **source) -> None:
        """Adds a data set; the arguments are those of SampleDataSource. Adding the same again changes nothing."""
        sources = _registry("sampleDataSources").setdefault(category, [])
        data_source = SampleDataSource(**source)
        if data_source not in sources:
            sources.append(data_source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        registered = _registry("sampleDataSources")
        return registered if category is None else registered.get(category, [])

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        sources = [source for group in _registry("sampleDataSources").values() for source in group]
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadSample(self, sampleName: str):
        """Loads a registered data set and returns its first node."""
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list:
        source = self.sourceForSampleName(sampleName)
        return [] if source is None else self.downloadFromSource(source)

    def downloadFromSource(self, source: SampleDataSource) -> list:
        """Returns the loaded nodes; a path for a file that is not to be loaded, as scenes are not by default."""
        if source.customDownloader is not None:
            return source.customDownloader(source)
        columns = (
            source.uris,
            source.fileNames,
            source.nodeNames,
            source.checksums,
            source.loadFiles,
            source.loadFileTypes,
        )
        return [self._fetch(*row, source.loadFileProperties) for row in zip(*columns, strict=True)]

    def downloadFileIntoCache(self, uri: str, name: str, checksum: str | None = None) -> str:
        """Copies a file:// URI into the cache.

        Raises:
            ValueError: the URI is not a file:// URI, or the file does not have the checksum.
        """
        if not uri.startswith("file:"):
            raise ValueError(f"the host downloads nothing: sample data must be at a file:// URI, got {uri}")
        target = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / name
        urllib.request.urlretrieve(uri, target)
        algorithm, digest = slicer.util.extractAlgoAndDigest(checksum)
        if algorithm is not None and slicer.util.computeChecksum(algorithm, str(target)) != digest:
            target.unlink()
            raise ValueError(f"{name} does not have the checksum {checksum}")
        return str(target)

    def _fetch(self, uri, file_name, node_name, checksum, load, file_type, properties):
        path = self.downloadFileIntoCache(uri, file_name, checksum)
        if load is False or (path.endswith((".mrml", ".mrb")) and not load):
            return path
        properties = dict(properties) | {"name": node_name or Path(file_name).name.partition(".")[0]}
        node = slicer.util.loadNodeFromFile(path, file_type, properties)
        if node is None:  # a scene
            return path
        storage = node.GetStorageNode()
        if storage is not None:  # the file is in a cache: the node is not to be saved there
            slicer.mrmlScene.RemoveNode(storage)
        return node


def _registry(name: str) -> dict:
    if not hasattr(slicer.modules, name):
        setattr(slicer.modules, name, {})
    return getattr(slicer.modules, name)


def downloadSample(sampleName: str):
    """Loads a registered data set and returns its first node."""
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName: str) -> list:
    """Loads a registered data set and returns its nodes."""
    return SampleDataLogic().downloadSamples(sampleName)
