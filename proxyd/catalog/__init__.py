"""Third-party services as proxyd knows them, and the credentials that a machine holds for them already."""
