public class Quiet { public static void main(String[] a) { System.out.println("quiet"); } }
