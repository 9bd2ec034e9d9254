"""The one error type of this package: what is wrong, and what the reader can do about it."""


class ClusterError(Exception):
    """A failure that is explained to the user without a traceback.

    `advice` is a full sentence that tells the way out; it may be empty where the message says it all.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}\n  {advice}" if advice else message)
        self.message = message
        self.advice = advice
