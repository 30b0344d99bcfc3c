"""The engine: trains what a strategy lists, judges what it deploys, and loses nothing on the way."""
