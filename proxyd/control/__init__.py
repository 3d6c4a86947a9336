"""The composition root of the control plane: configuration in, snapshots out, admin calls answered."""
