"""What is a job: the file format, its meaning, and the canonical form that travels?"""

from protocols.job.parse import parse_job
from protocols.job.problems import JobError, Problem
from protocols.job.schema import JobSpec

__all__ = ["JobError", "JobSpec", "Problem", "parse_job"]
