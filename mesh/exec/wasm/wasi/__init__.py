"""What does a job see of the world?  WASI preview 1, written so that every answer follows from the job alone."""
