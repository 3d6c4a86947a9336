"""The client side: the router's attempts, connection pools, HTTP/1.1 round trips."""
