"""Files of constants for $readmemh: a word a line. NumPy alone."""

import numpy as np

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def nibbles(rows: np.ndarray) -> bytes:
    r"""[words, n] numbers of four bits, the first one lowest.

    Example:
      >>> nibbles(np.array([[1, 10], [0, 15]]))
      b'a1\nf0\n'
    """
    text = np.full((len(rows), rows.shape[1] + 1), ord("\n"), np.uint8)
    text[:, :-1] = _DIGITS[rows[:, ::-1]]
    return text.tobytes()


def words(rows: np.ndarray, bits: int) -> bytes:
    r"""[words, n] numbers of so many bits, two's complement, the first one lowest.

    Example:
      >>> words(np.array([[1, -1], [0, 3]]), 3)
      b'39\n18\n'
    """
    spread = (rows.astype(np.int64)[:, :, None] >> np.arange(bits)) & 1
    flat = spread.reshape(len(rows), rows.shape[1] * bits)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4)))
    return nibbles(padded.reshape(len(rows), padded.shape[1] // 4, 4) @ (1, 2, 4, 8))


def beats(columns: list[tuple[np.ndarray, int]], values: int, count: int) -> bytes:
    r"""The constants of each channel, so many channels a word.

    Args:
      columns: pairs of [channels] numbers and their bits; of a channel the first one lowest.
      values: channels of a word; zeros stand behind the last one.
      count: words.

    Example:
      >>> beats([(np.array([1, 2, 3]), 4), (np.array([-1, 0, 1]), 4)], 2, 2)
      b'02f1\n0013\n'
    """
    spread = [(x.astype(np.int64)[:, None] >> np.arange(bits)) & 1 for x, bits in columns]
    of_channel = np.concatenate(spread, axis=1)
    padded = np.pad(of_channel, ((0, values * count - len(of_channel)), (0, 0)))
    return words(padded.reshape(count, -1), 1)
