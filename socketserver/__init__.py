"""A Socket.IO chat server for JavaScript front ends.

In a checkout this package hides the standard library's module of the same name, which http.server,
logging.config and xmlrpc.server import. So every public name of that module is handed on from here, loaded
from its file when it is first asked for. Nothing else is imported: this works before any dependency is
installed. The reasons are in docs/decisions/0001-the-name.md.
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Return the standard library socketserver's attribute `name` (PEP 562).

    Raises: AttributeError, as any module does for a name that it does not have.
    """
    if name == "__all__" or not name.startswith("_"):
        module = _standard_module()
        try:
            return getattr(module, name)
        except AttributeError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _standard_module() -> object:
    # The module is cached in an attribute of this function's module; two threads that load it at once would at
    # worst build it twice, and the class identity that http.server saw first stays, because setdefault decides.
    cached = globals().get("_standard")
    if cached is None:
        import importlib.util
        import sysconfig

        path = sysconfig.get_path("stdlib") + "/socketserver.py"
        spec = importlib.util.spec_from_file_location("socketserver", path)
        if spec is None or spec.loader is None:  # a Python without its library's files
            raise ImportError(f"cannot load the standard library's socketserver from {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cached = globals().setdefault("_standard", module)
    return cached
