"""Small data sets, prepared as TFDS prepares them, without TensorFlow."""

import io
import json
import os
from pathlib import Path

import numpy as np
from array_record.python import array_record_module
from PIL import Image
from tensorflow_datasets.proto import tf_example_generated_pb2 as proto

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("FLIGHTNN_SHARED", ROOT.parent / "shared"))


def encode(pixels, file_format="PNG"):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def write(data_dir, name, examples, version="1.0.0", classes=10, shards=1, size=32):
    """Writes data_dir/name/version with `examples`, a dict of split to (encoded, label) pairs."""
    directory = Path(data_dir) / name / version
    directory.mkdir(parents=True)
    splits = []
    for split, pairs in examples.items():
        parts = np.array_split(np.arange(len(pairs)), shards)
        for number, part in enumerate(parts):
            file = f"{name}-{split}.array_record-{number:05}-of-{shards:05}"
            writer = array_record_module.ArrayRecordWriter(str(directory / file), "group_size:1")
            for row in part:
                image, label = pairs[row]
                example = proto.Example()
                example.features.feature["image"].bytes_list.value.append(image)
                example.features.feature["label"].int64_list.value.append(label)
                writer.write(example.SerializeToString())
            writer.close()
        splits.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
                "shardLengths": [str(len(part)) for part in parts],
            }
        )
    info = {"name": name, "version": version, "fileFormat": "array_record", "splits": splits}
    (directory / "dataset_info.json").write_text(json.dumps(info))
    (directory / "features.json").write_text(json.dumps(_features(classes, size)))
    return directory


def _features(classes, size):
    package = "tensorflow_datasets.core.features"
    shape = {"dimensions": [str(size), str(size), "3"]}
    features = {
        "image": {
            "pythonClassName": f"{package}.image_feature.Image",
            "image": {"dtype": "uint8", "shape": shape},
        },
        "label": {
            "pythonClassName": f"{package}.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": str(classes)},
        },
    }
    return {
        "pythonClassName": f"{package}.features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }


def random_images(count, size=32, seed=0):
    """[count, size, size, 3] uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def write_cifar10(data_dir, train=40, test=10, **kwargs):
    """A small cifar10, and what it holds: its directory, images and labels of both splits."""
    images = random_images(train + test)
    labels = np.arange(train + test) % 10
    pairs = [(encode(image), int(label)) for image, label in zip(images, labels, strict=True)]
    examples = {"train": pairs[:train], "test": pairs[train:]}
    return write(data_dir, "cifar10", examples, **kwargs), images, labels


def write_imagenet(data_dir, train=200, validation=5, seed=0):
    """A small imagenet2012 of photographs of different sizes."""
    rng = np.random.default_rng(seed)

    def photograph():
        height, width = rng.integers(40, 120, 2)
        small = rng.integers(0, 256, (4, 5, 3), np.uint8)
        smooth = Image.fromarray(small).resize((int(width), int(height)))
        return encode(np.asarray(smooth), "JPEG"), int(rng.integers(1000))

    examples = {
        "train": [photograph() for _ in range(train)],
        "validation": [photograph() for _ in range(validation)],
    }
    return write(data_dir, "imagenet2012", examples, version="5.1.0", classes=1000, size=-1)
