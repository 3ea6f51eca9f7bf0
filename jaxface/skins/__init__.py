"""MakeHuman's skins in the canonical UV: for the texture database, the albedo model, evaluation."""
