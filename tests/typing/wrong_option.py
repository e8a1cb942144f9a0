import dlkit

with dlkit.load("digits") as digits:
    digits.run_folder("digits/", "out/", batches=1)
    digits.run_folder("digits/", "out/", workers="two")
