"""Plugins that ship with proxyd; they import proxyd.sdk only."""
