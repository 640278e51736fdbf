"""What do the job tests share: a small job, and the job that uses every key?"""

from typing import Any

import pytest

from protocols.job import JobError, parse_job


@pytest.fixture
def small() -> dict[str, Any]:
    return {"version": 1, "module": "./pi.wasm"}


@pytest.fixture
def problems_of():
    """The problems of a mapping as {path: message}; fails when there are none."""

    def find(mapping: object, env: dict[str, str] | None = None, **more: Any) -> dict[str, str]:
        with pytest.raises(JobError) as caught:
            parse_job(mapping, {}, env or {}, **more)
        return {problem.path: problem.message for problem in caught.value.problems}

    return find
