"""What is measured about traits: replay of the past, lift, stability and grades; numbers in, numbers out."""
