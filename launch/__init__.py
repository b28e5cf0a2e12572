"""What a user starts: programs and scripts."""
