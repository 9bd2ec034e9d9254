"""Define the error type of this package: the failure, and its remedy."""


class ClusterError(Exception):
    """A failure that is explained to the user without a traceback.

    `advice` is a full sentence with the remedy; it may be empty where the message contains it.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}\n  {advice}" if advice else message)
        self.message = message
        self.advice = advice
