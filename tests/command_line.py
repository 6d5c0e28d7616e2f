"""How tests run commands."""

from click.testing import CliRunner

from tfsent.cli.main import main


def call(*words, code=0, stdin=None, stderr=False):
    """Run a command; give its standard output (or error), or its one message when it must fail."""
    result = CliRunner().invoke(main, [str(word) for word in words], input=stdin)
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    if code:
        assert result.stderr.count("Error: ") == 1
        return result.stderr
    return result.stderr if stderr else result.stdout
