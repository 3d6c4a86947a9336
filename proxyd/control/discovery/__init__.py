"""Discovery: finds the endpoints of services and keeps the lists current."""
