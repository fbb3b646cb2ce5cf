"""The base of every error that a user can cause."""


class CaffeError(ValueError):
    """An expected failure: str(error) is the one line that a person is shown.

    Commands print that line and exit with status 1; anything else that is raised is a
    fault of the project and keeps its traceback.
    """
