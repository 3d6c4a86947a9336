"""The proxies under measurement, one class each, all set to the same work.

Each adds the origin's credential, writes an access log, and uses one worker or thread.
"""
