"""Whether a change made the measured code worse: exact gates, then time and memory by turns."""
