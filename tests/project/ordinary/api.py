"""The same orders by Django REST framework and by Ninja, each with a stream."""

from django.utils.decorators import method_decorator
from django_streamproof import streaming
from ninja import File, Form, NinjaAPI, Schema
from ninja.files import UploadedFile
from rest_framework import routers, serializers, viewsets
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.views import APIView

from ordinary import views
from ordinary.models import Order


class OrderSerializer(serializers.ModelSerializer):
    class Meta:
        model = Order
        fields = ("id", "customer")


class Orders(viewsets.ModelViewSet):
    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)
    queryset = Order.objects.order_by("id")
    serializer_class = OrderSerializer


router = routers.SimpleRouter(trailing_slash=False)
router.register("orders", Orders)


@method_decorator(streaming(), name="dispatch")
class Export(APIView):
    """Write, and then stream; REST framework's views are synchronous."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsAuthenticated,)

    def post(self, request):
        Order.objects.create(customer=request.data["customer"])
        return views.stream_of_orders()


class OrderIn(Schema):
    customer: str


ninja = NinjaAPI()


@ninja.get("orders")
def orders(request):
    return {"count": Order.objects.count()}


@ninja.post("orders")
def order(request, payload: OrderIn):
    return {"id": Order.objects.create(customer=payload.customer).id}


@ninja.post("export")
@streaming()
def export(request, payload: OrderIn):
    Order.objects.create(customer=payload.customer)
    return views.stream_of_orders()


@ninja.post("upload")
def upload(request, note: Form[str], file: File[UploadedFile]):
    return {"note": len(note), "size": file.size}
