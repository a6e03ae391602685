"""Damaged and hostile input: each ends in success or in one line, within limits of time and memory."""
