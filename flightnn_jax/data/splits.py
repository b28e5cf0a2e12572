"""The two kinds of splits: all images in memory, or read when they are needed."""

import dataclasses

import numpy as np

from flightnn_jax.data import catalog, photographs, records


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySplit:
    """A split that is in memory.

    Attributes:
      dataset: which it belongs to.
      images: [n, image_size, image_size, 3] uint8.
      labels: [n] int32.
    """

    dataset: catalog.Dataset
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> int:
        """Height and width of the images."""
        return self.images.shape[1]

    def read(
        self, rows: np.ndarray, uniform: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images [b, image_size, image_size, 3] and labels [b] of some rows [b]."""
        del uniform  # these images are augmented on the device
        return np.take(self.images, rows, axis=0), np.take(self.labels, rows)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordSplit:
    """A split of photographs, each decoded and cropped when it is read. It can be pickled.

    Attributes:
      records: where they are.
      image_size: height and width of the crops.
    """

    records: records.Records
    image_size: int

    @property
    def dataset(self) -> catalog.Dataset:
        """Which it belongs to."""
        return self.records.dataset

    def __len__(self) -> int:
        return len(self.records)

    def read(
        self, rows: np.ndarray, uniform: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Crops of some rows.

        Args:
          rows: [b].
          uniform: [b, photographs.RANDOM_NUMBERS] numbers in [0, 1) for random crops; None takes
            the middle.

        Returns:
          images [b, image_size, image_size, 3] uint8; labels [b] int32.
        """
        images = np.empty((len(rows), self.image_size, self.image_size, 3), np.uint8)
        examples = self.records.read(rows.tolist())
        for place, (row, example) in enumerate(zip(rows.tolist(), examples, strict=True)):
            chosen = None if uniform is None else uniform[place]
            with self.records.decoding(row, example) as image:
                images[place] = photographs.crop(image, self.image_size, chosen)
        return images, np.array([example.label for example in examples], np.int32)


Split = ArraySplit | RecordSplit
