"""What a command says that cannot do what it was asked."""

import pytest

from attention_unet_training.refusals import told_in_one_line


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (ValueError("a\n  b"), 1, "error: a b\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "error: [Errno 2] No such file: 'x'\n"),
        (MemoryError(), 1, "error: not enough memory\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_refusals_are_one_line_and_an_exit_status(capsys, raised, status, said):
    @told_in_one_line
    def main(arguments):
        raise raised

    assert main([]) == status
    assert capsys.readouterr().err == said


def test_faults_of_the_program_are_not_hidden():
    @told_in_one_line
    def main(arguments):
        raise TypeError("fault")

    with pytest.raises(TypeError, match="fault"):
        main([])
