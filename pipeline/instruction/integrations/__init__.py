"""The Instructor in other people's training loops: one file per library, each of which imports that library."""
