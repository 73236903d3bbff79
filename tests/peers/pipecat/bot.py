"""An echo bot on pipecat's own runner, transport and serializer; it hangs up after a few seconds of audio.

Run by `tests/peers/test_pipecat.py` with pipecat's own interpreter: `bot.py --host … --port … -t telnyx -x …`.
"""

from pipecat.frames.frames import EndTaskFrame, Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams

SECONDS = 3


class Echo(FrameProcessor):
    """Says what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels))
        self._heard += len(frame.audio) / 2 / frame.sample_rate
        if self._heard >= SECONDS:
            self._heard = float("-inf")
            await self.push_frame(EndTaskFrame(), FrameDirection.UPSTREAM)


async def bot(arguments: RunnerArguments) -> None:
    """What pipecat's runner calls for each WebSocket."""
    makers = {"telnyx": lambda: FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)}
    transport = await create_transport(arguments, makers)
    pipeline = Pipeline([transport.input(), Echo(), transport.output()])
    params = PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=8000)
    await PipelineRunner(handle_sigint=False).run(PipelineTask(pipeline, params=params))


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
