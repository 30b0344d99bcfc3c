"""What several translators share; no part of the public interface."""
