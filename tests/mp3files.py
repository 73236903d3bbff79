"""mp3 files of the kinds that apps send, made by LAME through libav, and what a listener measures of them."""

from io import BytesIO

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

HERTZ = 1000
KINDS = ("cbr-44100-stereo", "vbr-48000-mono", "mpeg2-22050-mono", "mpeg25-8000-id3v24", "320kbit-44100-stereo")
_KINDS: dict[str, tuple[int, int, int, dict[str, object], dict[str, str]]] = {
    # rate, channels, bit rate (0 = the encoder's quality scale), encoder options, file options
    KINDS[0]: (44100, 2, 128000, {}, {"id3v2_version": "0"}),
    KINDS[1]: (48000, 1, 0, {"q": "4"}, {"id3v2_version": "3"}),
    KINDS[2]: (22050, 1, 48000, {}, {"id3v2_version": "0", "write_id3v1": "1"}),
    KINDS[3]: (8000, 1, 16000, {}, {"id3v2_version": "4"}),
    KINDS[4]: (44100, 2, 320000, {}, {"id3v2_version": "3"}),
}


def mp3(
    kind: str = KINDS[3], seconds: float = 1, *, hertz: float = HERTZ, first: float = 0, xing: bool = True
) -> bytes:
    """A tone at half of full scale, as an mp3 file of one of `KINDS`; its phase is that of the time `first`."""
    rate, channels, bit_rate, options, file_options = _KINDS[kind]
    t = first + np.arange(round(rate * seconds)) / rate
    wave = (16384 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)
    layout = "stereo" if channels == 2 else "mono"
    frame = av.AudioFrame.from_ndarray(np.repeat(wave[None, :], channels, 0), format="s16p", layout=layout)
    frame.sample_rate = rate
    file = BytesIO()
    with av.open(file, "w", format="mp3", options=file_options | {"write_xing": str(int(xing))}) as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        stream.options = options
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def signal_to_noise(samples: Samples, rate: int, hertz: float = HERTZ) -> float:
    """In dB, taking the sine of `hertz` that fits best for the signal and all else for noise: a gap, a click, a lost
    or repeated sample anywhere breaks the phase and costs tens of dB."""
    t = np.arange(len(samples)) / rate
    basis = np.stack([np.sin(2 * np.pi * hertz * t), np.cos(2 * np.pi * hertz * t)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    noise = samples - basis @ fit
    return float(10 * np.log10(np.mean((basis @ fit) ** 2) / max(1e-9, float(np.mean(noise**2)))))
