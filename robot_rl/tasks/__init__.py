"""What can be trained: small classes that describe a scene, a start, an observation and a judgement."""
