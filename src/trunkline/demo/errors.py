"""Why the story of the demo can break off.

StoryBroken            the text is what the reader sees
├── CallFailed         the call could not be placed
└── ServerFailed       the server did not start, or does not answer
"""


class StoryBroken(Exception):
    """The demo cannot go on; the text is the reason."""


class CallFailed(StoryBroken):
    """The call could not be placed."""


class ServerFailed(StoryBroken):
    """The server did not start, or does not answer; the text ends with the last lines of its log."""
