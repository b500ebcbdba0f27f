"""`tools/follow ORDER`: what the platform knows of one order, in time order, and where its way ended. It only looks."""
