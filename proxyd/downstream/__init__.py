"""The server side: connections from applications, HTTP/1.1 exchanges and tunnels."""
