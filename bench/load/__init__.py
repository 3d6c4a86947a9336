"""The clients that make load: wrk, curl and our own connect.go, each with what it reports."""
