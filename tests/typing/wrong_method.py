import dlkit

dlkit.load("digits").no_such_method()
