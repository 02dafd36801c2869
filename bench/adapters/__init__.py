"""The adapters beside the bare drivers and beside what others ship."""
